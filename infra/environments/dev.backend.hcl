# Made once by hand, before anything else: docs/deploy.md.
bucket       = "eaves-terraform-state-CHANGE-ME"
key          = "dev/terraform.tfstate"
region       = "eu-central-1"
encrypt      = true
use_lockfile = true
