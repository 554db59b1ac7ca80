"""Decrypt an environment's secrets into files."""

from invoke import Context

from tasks import cli


@cli.task(
    help={
        "environment": "The environment: staging or production.",
        "overwrite": "Also overwrite files that were edited after they were decrypted.",
    }
)
def decrypt(c: Context, environment: str = "", overwrite: bool = False) -> None:
    """Decrypt an environment's secrets into private files that git ignores."""
    from tasks.lib import console
    from tasks.lib.secrets import plaintexts
    from tasks.lib.secrets.crypt import decrypt_all
    from tasks.lib.secrets.files import secret_files

    settings = cli.settings(c)
    chosen = settings.environment(environment)
    decrypted = decrypt_all(settings, chosen)
    files = secret_files(settings, chosen)
    if not overwrite:
        plaintexts.refuse_edited(chosen, files, decrypted)
    plaintexts.write(files, decrypted)
    for file in files:
        console.say(f"{file.plaintext}: {len(decrypted[file.name])} bytes")
    if not files:
        console.say(f"{chosen.name} has no encrypted files: see environments.{chosen.name}.secrets.")
