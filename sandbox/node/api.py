"""The part of the Kubernetes API that the sandbox's own servers use: paths and plain JSON over requests."""

import datetime
import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import requests

log = logging.getLogger(__name__)

Object = Mapping[str, Any]
TIME_LIMIT = 10.0
WATCH_FOR = 300
PAUSE_AFTER_ERROR = 0.5
PAUSE_WITHOUT_KIND = 1.0


class Api:
    """The API server at `url`, as its administrator; `folder` holds ca.crt, admin.crt and admin.key.

    `time_limit` is for each request, in seconds.
    """

    def __init__(self, url: str, folder: Path, time_limit: float = TIME_LIMIT) -> None:
        self.url = url
        self._folder = folder
        self._time_limit = time_limit
        self._local = threading.local()

    @property
    def session(self) -> requests.Session:
        """This thread's session: threads must not share one."""
        if not hasattr(self._local, "session"):
            session = requests.Session()
            session.verify = str(self._folder / "ca.crt")
            session.cert = (str(self._folder / "admin.crt"), str(self._folder / "admin.key"))
            session.trust_env = False
            self._local.session = session
        return self._local.session  # type: ignore[no-any-return]

    def get(self, path: str) -> Object | None:
        """One object, or None where there is none."""
        answer = self.session.get(self.url + path, timeout=self._time_limit)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        found: Object = answer.json()
        return found

    def create(self, path: str, value: Object) -> None:
        """Create an object; one that exists already is left as it is."""
        answer = self.session.post(self.url + path, json=value, timeout=self._time_limit)
        if answer.status_code != 409:
            answer.raise_for_status()

    def patch(self, path: str, value: Object) -> None:
        """Merge `value` into an object, or into the part of it that `path` names."""
        # Kubernetes' own kinds merge items of lists by their names; custom resources cannot.
        merge = "merge-patch" if "." in path.split("/")[2] else "strategic-merge-patch"
        headers = {"Content-Type": f"application/{merge}+json"}
        answer = self.session.patch(self.url + path, json=value, headers=headers, timeout=self._time_limit)
        answer.raise_for_status()

    def warn(self, pod: Object, reason: str, message: str, field: str = "") -> None:
        """Send a warning about a pod, as a kubelet does."""
        metadata, now = pod["metadata"], datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = {"apiVersion": "v1", "kind": "Pod", "fieldPath": field}
        about |= {key: metadata[key] for key in ("namespace", "name", "uid", "resourceVersion")}
        event = {
            "metadata": {"generateName": f"{metadata['name']}."}, "involvedObject": about,
            "type": "Warning", "reason": reason, "message": message, "count": 1,
            "firstTimestamp": now, "lastTimestamp": now,
            "source": {"component": "kubelet", "host": pod["spec"]["nodeName"]},
        }  # fmt: skip
        self.create(f"/api/v1/namespaces/{metadata['namespace']}/events", event)

    def delete(self, path: str) -> None:
        """Delete an object; one that is gone already is fine."""
        answer = self.session.delete(self.url + path, timeout=self._time_limit)
        if answer.status_code != 404:
            answer.raise_for_status()

    def follow(self, path: str) -> Iterator[Object]:
        """Every object under `path`, then each as it changes, for ever; after an error, from the start.

        A kind that the cluster does not have is asked for now and then: it may come with a deploy.
        """
        while True:
            try:
                if listed := self.get(path):
                    yield from self._list_and_watch(path, listed)
                else:
                    time.sleep(PAUSE_WITHOUT_KIND)
            except (requests.RequestException, json.JSONDecodeError, OSError) as error:
                log.warning("%s: %s", path, error)
                time.sleep(PAUSE_AFTER_ERROR)

    def _list_and_watch(self, path: str, listed: Object) -> Iterator[Object]:
        yield from listed["items"]
        since = listed["metadata"]["resourceVersion"]
        query = {"watch": "true", "resourceVersion": since, "timeoutSeconds": str(WATCH_FOR)}
        limits = (self._time_limit, WATCH_FOR + self._time_limit)
        with self.session.get(self.url + path, params=query, stream=True, timeout=limits) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines(chunk_size=None):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                if event["type"] in {"ADDED", "MODIFIED"}:
                    yield event["object"]
