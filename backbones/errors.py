"""The one error a user is meant to read."""


class UserError(Exception):
    """Something the user gave cannot be used; the message is one line that says what and names the mend.

    The command line prints it without a traceback and exits with code 2.
    """
