"""`python -m foretext` is `foretext`."""

from foretext.cli import main

main()
