"""Read what a kernel became: the loop over terms, and how often it computes in which precision."""

from __future__ import annotations

import re
from collections import Counter

ORIENTATION = "ld.shared.f64"  # the load of one of its nine numbers
LABEL = re.compile(r"^(\$\w+):")
BRANCH = re.compile(r"\bbra(?:\.uni)?\s+(\$\w+)")
ARITHMETIC = re.compile(r"^(?:@!?%p\d+ )?((?:fma|add|sub|mul|div|sqrt|rcp|min|max|neg|abs|copysign|setp|cvt|ex2)\S*\.(f64|f32)\S*)\s")


def term_loop(ptx: str) -> list[str]:
    """The instructions of the innermost loop that reads orientations from shared memory and computes with them."""
    lines = [line.strip() for line in ptx.splitlines() if line.strip() and not line.strip().startswith(("//", "."))]
    begins = {match[1]: at for at, line in enumerate(lines) if (match := LABEL.match(line))}
    loops = [
        lines[begins[match[1]] : at + 1]
        for at, line in enumerate(lines)
        if (match := BRANCH.search(line)) and begins.get(match[1], at + 1) <= at
    ]
    of_terms = [loop for loop in loops if sum(ORIENTATION in line for line in loop) >= 9]
    return min(of_terms, key=len)


def arithmetic_of_a_term(ptx: str) -> Counter[str]:
    """How often each arithmetic instruction stands in the loop over terms, for a term."""
    loop = term_loop(ptx)
    terms = sum(ORIENTATION in line for line in loop) // 9  # more than one where the compiler unrolls
    return Counter({name: count // terms for name, count in arithmetic(loop).items()})


def arithmetic(instructions: list[str]) -> Counter[str]:
    """How often each arithmetic instruction on floating-point numbers stands there: ``fma.rn.f64`` and so on."""
    return Counter(match[1] for line in instructions if (match := ARITHMETIC.match(line)))
