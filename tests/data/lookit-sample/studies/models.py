from django.db import models


class Study(models.Model):
    name = models.CharField(max_length=200, unique=True)
    minimum_age_in_days = models.PositiveIntegerField(default=0)
