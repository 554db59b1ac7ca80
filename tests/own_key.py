"""A corner of the sandbox whose secrets are its own."""

from functools import cached_property
from typing import Any

import yaml
from msgspec.structs import replace

from sandbox import placeholders
from sandbox.seed import make_keys, site_of
from tasks.lib.redaction import Secret
from tasks.lib.secrets.crypt import as_encrypter, encrypt_all
from tasks.lib.secrets.files import RELEASE_KEY, known_files
from tasks.lib.settings.model import Settings
from tests.builders import ROOT
from tests.sandbox_case import Case, merged


class OwnKey(Case):
    """A corner whose environment has a name, encrypted files and a KMS key of its own."""

    @cached_property
    def values(self) -> dict[str, Any]:
        staging = yaml.safe_load((ROOT / "invoke.yaml").read_text())["environments"]["staging"]
        corner = super().values
        own = merged(merged(staging, corner["environments"]["staging"]), {"branch": self.name})
        key = f"key-{self.name}"
        own["secrets"]["files"] = dict.fromkeys(own["secrets"]["files"], key)
        own["secrets"]["release_key"] = key
        return {**corner, "environments": {self.name: own}}

    @cached_property
    def settings(self) -> Settings:
        found = super().settings
        environment = found.environments[self.name]
        ciphertexts = str(self.sandbox.state.ciphertexts(self.name))
        sealed = replace(environment, secrets=replace(environment.secrets, ciphertexts=ciphertexts))
        return replace(found, environments={**found.environments, self.name: sealed})

    @property
    def key(self) -> str:
        return self.settings.kms.key_name(f"key-{self.name}")

    def seal(self, **instead: Secret) -> None:
        """Encrypt placeholders for every file, `instead` for those named; the release key stays once it is there."""
        owner = as_encrypter(self.settings)
        environment = owner.environment(self.name)
        make_keys(owner, {f"key-{self.name}"})
        lists = self.tree / "overlays" / "staging" / "secrets"
        files = known_files(owner, environment)
        due = [file.name for file in files if file.name != RELEASE_KEY or not file.ciphertext.exists()]
        site = site_of(self.sandbox.state, self.environment)
        plaintexts = {name: placeholders.content(lists / f"{name}.expected", site) for name in due}
        encrypt_all(owner, environment, {**plaintexts, **instead})

    def administer(self) -> Any:
        """The key owner's client."""
        from sandbox.seed import administration

        return administration(as_encrypter(self.settings))
