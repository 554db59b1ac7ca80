from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("studies", "0001_initial")]
    operations = [
        migrations.AddField("study", "minimum_age_in_days", models.PositiveIntegerField(default=0)),
    ]
