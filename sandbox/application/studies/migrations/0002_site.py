"""The row of django.contrib.sites that SITE_ID names, with the environment's host."""

from django.conf import settings
from django.db import migrations


def name_the_site(apps, schema_editor):
    """Write it; lookit-api leaves that to a person, and answers 500 on some pages until then."""
    site = apps.get_model("sites", "Site")
    names = {"domain": settings.SITE_DOMAIN, "name": settings.SITE_NAME}
    site.objects.update_or_create(id=settings.SITE_ID, defaults=names)


class Migration(migrations.Migration):
    """After Django's own, which makes the table."""

    dependencies = [("studies", "0001_initial"), ("sites", "0002_alter_domain_unique")]
    operations = [migrations.RunPython(name_the_site, migrations.RunPython.noop)]
