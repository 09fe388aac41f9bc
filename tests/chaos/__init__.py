"""Tries to break the program from outside, run by `make chaos`: it writes docs/reliability.md."""
