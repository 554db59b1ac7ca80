from django.db import IntegrityError, connection
from django.test import TestCase

from studies.models import Study


class StudyTests(TestCase):
    def test_the_database_is_postgresql(self):
        self.assertEqual(connection.vendor, "postgresql")

    def test_studies_are_listed_by_name(self):
        Study.objects.create(name="b")
        Study.objects.create(name="a")
        self.assertEqual(self.client.get("/studies/").json(), {"studies": ["a", "b"]})

    def test_two_studies_may_not_share_a_name(self):
        Study.objects.create(name="a")
        with self.assertRaises(IntegrityError):
            Study.objects.create(name="a")
