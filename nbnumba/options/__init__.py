"""The options of nanoBragg: the table of them, the words of a command line, and the experiment they describe."""
