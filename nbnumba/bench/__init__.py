"""How fast is it here: the work that is timed, what it is measured against, and the report."""
