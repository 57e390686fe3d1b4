# The web server: reads the key that it signs sessions with from Vault, by its
# identity.
variable "network" {
  type = string
}

job "web" {
  type = "service"

  update {
    min_healthy_time = "1s"
    healthy_deadline = "1m"
  }

  group "web" {
    count = 2

    network {
      mode = "host"
      port "http" {}
    }

    service {
      name     = "web"
      port     = "http"
      provider = "consul"
    }

    task "web" {
      driver = "raw_exec"

      vault {
        role = "web"
      }

      template {
        data        = <<-EOT
          {{ with secret "shop/data/session" -}}
          SESSION_KEY={{ .Data.data.key }}
          {{- end }}
        EOT
        destination = "secrets/session.env"
        env         = true
      }

      env {
        NETWORK = var.network
      }

      config {
        command = "/bin/sh"
        args    = ["-c", "test -n \"$SESSION_KEY\" && exec sleep 86400"]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
