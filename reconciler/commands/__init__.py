"""What each command does, between the command line and the parts: open, carry out, print, choose the exit code."""
