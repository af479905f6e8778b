"""The options of the reference program: the table of them, the words of a command line, and the experiment they describe."""
