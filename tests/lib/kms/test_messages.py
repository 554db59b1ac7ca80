"""The messages come without the package's clients, and the package still loads whole afterwards."""

import subprocess
import sys


def test_messages_load_without_the_clients_and_leave_the_package_usable() -> None:
    program = """
import sys
from tasks.lib.kms.messages import messages
made = messages().DecryptRequest(name="n")
assert not [name for name in sys.modules if name.startswith("google.cloud.kms_v1.services")]
from google.cloud.kms_v1 import DecryptRequest, KeyManagementServiceClient
assert DecryptRequest is type(made)
print(KeyManagementServiceClient.__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "KeyManagementServiceClient\n"
