"""The messages come without the package's clients, and the package still loads whole afterwards."""

import subprocess
import sys

RACE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from tasks.lib.kms.messages import messages
barrier = Barrier(8)
def load(_):
    barrier.wait()
    return id(messages())
with ThreadPoolExecutor(8) as pool:
    assert len(set(pool.map(load, range(8)))) == 1
assert "google.cloud.kms_v1.services" not in sys.modules
print(messages().DecryptRequest.__name__)
"""


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


def test_threads_that_load_at_once_get_the_same_messages() -> None:
    done = subprocess.run([sys.executable, "-c", RACE], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("DecryptRequest\n", "")
