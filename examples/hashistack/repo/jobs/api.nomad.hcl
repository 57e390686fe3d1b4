# The API: its identity gets it a database user of its own from Vault, and a
# registry entry from Consul. Neither Git nor the plan holds a secret.
variable "database" {
  type = string
}

variable "count" {
  type    = number
  default = 1
}

job "api" {
  type = "service"

  update {
    min_healthy_time = "1s"
    healthy_deadline = "1m"
  }

  group "api" {
    count = var.count

    network {
      mode = "host"
      port "http" {}
    }

    service {
      name     = "api"
      port     = "http"
      provider = "consul"
    }

    task "api" {
      driver = "raw_exec"

      vault {
        role = "api"
      }

      template {
        data        = <<-EOT
          {{ with secret "database/creds/api" -}}
          PGUSER={{ .Data.username }}
          PGPASSWORD={{ .Data.password }}
          {{- end }}
        EOT
        destination = "secrets/database.env"
        env         = true
      }

      env {
        DATABASE = var.database
      }

      config {
        command = "/bin/sh"
        args    = ["-c", "test -n \"$PGPASSWORD\" && exec sleep 86400"]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
