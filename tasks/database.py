"""The database of an environment: psql, backups, dumps and restores."""

from invoke import Collection, Context, Exit

from tasks import cli


@cli.task(help={"environment": "The environment: staging or production.", "json": "Print JSON."})
def backups(c: Context, environment: str = "", json: bool = False) -> None:
    """List the newest backups of the database, newest first, with their age.

    ./inv database.backups --environment production
    ./inv database.backups --environment staging --json
    """
    from tasks.lib.operate import backups as output
    from tasks.lib.operate import database

    settings = cli.settings(c)
    found = database.client(settings, settings.environment(environment), lambda event: None).runs()
    output.deliver(found, as_json=json)


@cli.task(
    help={
        "environment": "The environment: staging or production.",
        "description": "A few words that the list of backups shows.",
    }
)
def backup(c: Context, environment: str = "", description: str = "") -> None:
    """Back up the database, wait until the backup is complete, and print its id.

    ./inv database.backup --environment production
    ./inv database.backup --environment production --description "before the import"
    """
    from tasks.lib import console
    from tasks.lib.deploy.output import display
    from tasks.lib.operate import database

    settings = cli.settings(c)
    with display.shown() as tell:
        done = database.back_up(settings, settings.environment(environment), description, tell)
    console.emit(done)


@cli.task(
    help={
        "environment": "The environment: staging or production.",
        "command": "Run this SQL and end; psql's exit code is handed on.",
        "port": "Leave a tunnel open on this port of 127.0.0.1 for another client, until Ctrl-C.",
        "write": "Allow changes (default: PostgreSQL refuses them).",
        "confirm": "With --write in production, the environment's name, instead of typing it when asked.",
    }
)
def connect(
    c: Context,
    environment: str = "",
    command: str = "",
    port: int = 0,
    write: bool = False,
    confirm: str = "",
) -> None:
    """Open psql in the database, through the cluster; read-only unless --write.

    ./inv database.connect --environment staging
    ./inv database.connect --environment production --command "SELECT count(*) FROM accounts_user"
    """
    import sys

    from tasks.lib import console, signals
    from tasks.lib.errors import UsageError
    from tasks.lib.operate import connect

    if command and port:
        raise UsageError("--command and --port exclude each other.", "", "Leave one of them out.")
    settings = cli.settings(c)
    chosen = settings.environment(environment)

    def answer() -> str:
        with signals.raised():
            return sys.stdin.readline().strip()

    if write:
        connect.typed(chosen, confirm, answer, console.say)
    if port:
        connect.leave_open(settings, chosen, port, write, console.say, console.emit)
    elif code := connect.connect(settings, chosen, command, write, console.say):
        raise Exit(code=code)


@cli.task(
    help={
        "environment": "The environment: staging or production.",
        "name": "How the file's name begins (default: the environment's name).",
    }
)
def export(c: Context, environment: str = "", name: str = "") -> None:
    """Write a dump of the database into the private bucket, and print its gs:// address.

    ./inv database.export --environment production
    ./inv database.export --environment staging --name before-the-import
    """
    from tasks.lib import console
    from tasks.lib.deploy.output import display
    from tasks.lib.operate.export import export

    settings = cli.settings(c)
    with display.shown() as tell:
        address = export(settings, settings.environment(environment), name, tell)
    console.emit(address)


@cli.task(
    may_follow="backup",
    help={
        "backup": "The id of the backup, as ./inv database.backups shows it.",
        "environment": "The environment: staging or production.",
        "confirm": "The environment's name, instead of typing it when asked.",
    },
)
def restore(c: Context, backup: str = "", environment: str = "", confirm: str = "") -> None:
    """Replace ALL data of the database by those of a backup, with the application stopped meanwhile.

    ./inv database.restore 1700000000000 --environment staging
    ./inv database.restore 1700000000000 --environment staging --confirm staging
    """
    import sys

    from tasks.lib import console, signals
    from tasks.lib.deploy.output import display
    from tasks.lib.errors import UsageError
    from tasks.lib.operate import database

    settings = cli.settings(c)
    chosen = settings.environment(environment)
    if not confirm and not sys.stdin.isatty():
        raise UsageError(
            "Cannot prompt: stdin is not a terminal.", "", f"Add --confirm {chosen.name} to restore it."
        )

    def answer() -> str:
        with signals.raised():
            return sys.stdin.readline().strip()

    approve = database.typed(chosen, confirm, answer)
    with display.shown() as tell:
        database.restore(settings, chosen, backup, approve, tell)
    console.say(f"Backup {backup} is restored in {chosen.name}.")


@cli.task(help={"environment": "The environment: staging or production."})
def start(c: Context, environment: str = "") -> None:
    """Start the workloads that a failed or killed restore has stopped.

    ./inv database.start --environment staging
    ./inv database.start --environment production
    """
    from tasks.lib import console
    from tasks.lib.deploy.output import display
    from tasks.lib.operate import database

    settings = cli.settings(c)
    with display.shown() as tell:
        started = database.start(settings, settings.environment(environment), tell)
    console.say(f"Started: {', '.join(started)}." if started else "Nothing was stopped by a restore.")


database = Collection("database", backups, backup, connect, export, restore, start)
