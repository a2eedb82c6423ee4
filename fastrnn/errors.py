"""The exception for what a user can put right: a wrong option, text or file."""


class UserError(ValueError):
    """A wrong option, text or file; the command prints its message as one line and exits with 1."""
