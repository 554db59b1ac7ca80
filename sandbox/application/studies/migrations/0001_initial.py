"""The table of studies."""

import uuid

from django.db import migrations, models


class Migration(migrations.Migration):
    """Nothing is there before."""

    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            "Study",
            [
                ("id", models.AutoField(primary_key=True, auto_created=True, serialize=False)),
                ("uuid", models.UUIDField(default=uuid.uuid4, unique=True)),
                ("built", models.BooleanField(default=False)),
                ("log", models.TextField(default="")),
            ],
        ),
    ]
