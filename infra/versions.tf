terraform {
  required_version = ">= 1.10"
  required_providers {
    aws = {
      source = "hashicorp/aws"
      # .terraform.lock.hcl holds 5.100.0, with which everything here was tried. 6.x has not been:
      # `terraform init -upgrade` would take it.
      version = ">= 5.80, < 7.0"
    }
  }
  # Filled in by `terraform init -backend-config=environments/<name>.backend.hcl`.
  backend "s3" {}
}

provider "aws" {
  region = var.region
  default_tags {
    tags = {
      Project     = "eaves"
      Environment = var.environment
      ManagedBy   = "terraform"
    }
  }
}

# Where backups are copied to.
provider "aws" {
  alias  = "copy"
  region = coalesce(var.copy_region, var.region)
  default_tags {
    tags = {
      Project     = "eaves"
      Environment = var.environment
      ManagedBy   = "terraform"
    }
  }
}
