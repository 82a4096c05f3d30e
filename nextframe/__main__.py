"""`python -m nextframe`, and the command `nextframe`: the same as `python -m bench`."""

from nextframe.command import program

if __name__ == "__main__":
    program()
