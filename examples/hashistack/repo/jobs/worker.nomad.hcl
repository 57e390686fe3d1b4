# The worker: the same key, and nobody calls it.
job "worker" {
  type = "service"

  update {
    min_healthy_time = "1s"
    healthy_deadline = "1m"
  }

  group "worker" {
    task "worker" {
      driver = "raw_exec"

      vault {
        role = "web"
      }

      template {
        data        = "SESSION_KEY={{ with secret \"shop/data/session\" }}{{ .Data.data.key }}{{ end }}"
        destination = "secrets/session.env"
        env         = true
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
