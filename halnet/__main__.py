"""`python -m halnet` is the command `halnet`."""

from halnet.commands import main

main()
