"""From the checked-in kustomize tree, build variables and secrets to the objects of one environment."""
