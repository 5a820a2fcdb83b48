# An Application Load Balancer's target group.
#
#   out of rotation after  interval 5 s x unhealthy_threshold 2 + timeout 2 s = 12 s
#   so the service needs   STEADFAST__DRAIN__LAME_DUCK_MAX = 15s
#   and in all             15 s + grace 15 s + hooks 3 s + margin 7 s = 40 s before a kill
#                          (ECS: stopTimeout, EC2: the unit's TimeoutStopSec)
#
# Deregistration, which ECS and Auto Scaling do before they stop the service, takes the
# target out without waiting for a probe; the lame duck then only bridges its delay.

resource "aws_lb_target_group" "orders" {
  name        = "orders"
  port        = 8000
  protocol    = "HTTP"
  target_type = "ip"
  vpc_id      = var.vpc_id

  # Requests that run may take so long after deregistration; the default is 300.
  deregistration_delay = 20

  health_check {
    path                = "/ready/"
    matcher             = "200"
    interval            = 5
    timeout             = 2
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

# The balancer must be the one that closes idle connections: it answers 502 when a target
# closes one that it is about to use. Its idle_timeout has to stay below the service's own,
# which is `Connections::idle`, by default 620 s.
variable "vpc_id" {
  type = string
}
