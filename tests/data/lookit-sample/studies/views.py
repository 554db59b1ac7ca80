from django.http import JsonResponse

from studies.models import Study


def listing(request):
    return JsonResponse({"studies": list(Study.objects.order_by("name").values_list("name", flat=True))})
