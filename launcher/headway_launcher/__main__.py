"""`python -m headway_launcher` is `launch`."""

from headway_launcher.main import main

main()
