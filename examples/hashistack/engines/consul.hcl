# The agent of the example, beside `consul agent -dev`: nobody may do anything
# who has not been let in.
acl {
  enabled        = true
  default_policy = "deny"
  tokens {
    initial_management = "00000000-0000-0000-0000-000000000001"
    agent              = "00000000-0000-0000-0000-000000000001"
  }
}
