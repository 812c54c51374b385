"""What several commands share: an argument, an option, a variable of the environment."""

import click

SUBMISSION = "WEAKBOX_SUBMISSION"
"""Environment variable that `weakbox submit` sets to the submission id, which the record of the run keeps."""

target_argument = click.argument("target")
set_option = click.option("--set", "changes", multiple=True, metavar="A.B=VALUE", help="Change one key of the config.")
