"""Decrypt an environment's secrets into files."""

from invoke import Context

from tasks import cli


@cli.task(
    help={
        "environment": "Whose secrets: staging or production.",
        "overwrite": "Also write over files that were edited by hand since they were decrypted.",
    }
)
def decrypt(c: Context, environment: str = "", overwrite: bool = False) -> None:
    """Decrypt an environment's secrets into files that git ignores, readable by you alone."""
    from tasks.lib import console
    from tasks.lib.secrets import decryption
    from tasks.lib.secrets.files import secret_files

    settings = cli.settings(c)
    chosen = settings.environment(environment)
    plaintexts = decryption.decrypt_all(settings, chosen)
    files = secret_files(settings, chosen)
    if not overwrite:
        decryption.refuse_edited(chosen, files, plaintexts)
    decryption.write_plaintexts(files, plaintexts)
    for file in files:
        console.say(f"{file.plaintext}: {len(plaintexts[file.name])} bytes")
    if not files:
        console.say(
            f"{chosen.name} has no encrypted files, by the settings in environments.{chosen.name}.secrets."
        )
