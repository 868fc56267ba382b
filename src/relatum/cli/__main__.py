"""`python -m relatum.cli`."""

from relatum.cli import main

main()
