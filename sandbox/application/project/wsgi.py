"""What uWSGI loads."""

import os
import time

from django.core.wsgi import get_wsgi_application

if os.environ.get("GEVENT") == "1":
    from psycogreen.gevent import patch_psycopg

    patch_psycopg()

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
# lookit-api takes seconds to load, and uWSGI's ports are bound all that time.
time.sleep(float(os.environ.get("SECONDS_TO_LOAD", "0")))
application = get_wsgi_application()
