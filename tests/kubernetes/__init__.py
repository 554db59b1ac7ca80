"""The manifests against what Lookit needs of them; kubectl is the only tool."""
