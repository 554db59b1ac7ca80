from django.urls import path

from studies import views

urlpatterns = [path("studies/", views.listing)]
