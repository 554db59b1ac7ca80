"""What uWSGI loads."""

import os
import time
from pathlib import Path

from django.core.wsgi import get_wsgi_application

if os.environ.get("GEVENT") == "1":
    from psycogreen.gevent import patch_psycopg

    patch_psycopg()

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
# lookit-api takes seconds to load, and uWSGI's ports are bound all that time; this may wait for a file.
while not Path(os.environ.get("LOADS_WITH", "/")).exists():
    time.sleep(0.05)
application = get_wsgi_application()
