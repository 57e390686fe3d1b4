# The password of the database server's administrator, out of a file on the
# daemon's machine.
variable "password_file" {
  type = string
}

output "password" {
  value     = trimspace(file(var.password_file))
  sensitive = true
}
