"""Every address of the site."""

from django.urls import path
from studies import views

urlpatterns = [
    path("", views.home),
    path("version/", views.version),
    path("slow/", views.slow),
    path("builds/", views.builds),
]
