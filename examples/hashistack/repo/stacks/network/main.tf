# A network and a database. terraform_data stands for what a cloud's provider
# would make, so that the example runs on one machine; what matters to
# everything else are the outputs.

variable "name" {
  type = string
}

variable "subnets" {
  type    = number
  default = 3
}

variable "database_address" {
  description = "host:port of the PostgreSQL that stands for the database"
  type        = string
}

variable "database_password_file" {
  description = "file on the daemon's machine with the password of the user admin"
  type        = string
}

resource "terraform_data" "network" {
  input = var.name
}

resource "terraform_data" "subnet" {
  count = var.subnets
  input = "${terraform_data.network.output}-${count.index}"
}

resource "terraform_data" "database" {
  input = {
    address = var.database_address
    name    = "postgres"
    user    = "admin"
  }
}

output "network" {
  value = terraform_data.network.output
}

output "subnets" {
  value = terraform_data.subnet[*].output
}

output "database_address" {
  value = terraform_data.database.output.address
}

# What Vault connects with: it fills in user and password itself.
output "database_url" {
  value = "postgresql://{{username}}:{{password}}@${terraform_data.database.output.address}/${terraform_data.database.output.name}?sslmode=disable"
}

output "database_user" {
  value = terraform_data.database.output.user
}

output "database_password" {
  value     = trimspace(file(var.database_password_file))
  sensitive = true
}
