"""The messages come without the package's clients, and the package still loads whole afterwards."""

import subprocess
import sys
from functools import cache

PROGRAM = """
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from tasks.lib.kms.messages import messages
barrier = Barrier(8)
def load(_):
    barrier.wait()
    return id(messages())
with ThreadPoolExecutor(8) as pool:
    print("loaded", len(set(pool.map(load, range(8)))))
made = messages().DecryptRequest(name="n")
print("clients", [name for name in sys.modules if name.startswith("google.cloud.kms_v1.services")])
from google.cloud.kms_v1 import DecryptRequest, KeyManagementServiceClient
print("the same", DecryptRequest is type(made), KeyManagementServiceClient.__name__)
"""


@cache
def said() -> list[str]:
    """What a process says that loads the messages in eight threads at once, and the whole package then."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_threads_that_load_at_once_get_the_same_messages() -> None:
    assert said()[0] == "loaded 1"


def test_messages_load_without_the_clients_and_leave_the_package_usable() -> None:
    assert said()[1:] == ["clients []", "the same True KeyManagementServiceClient"]
