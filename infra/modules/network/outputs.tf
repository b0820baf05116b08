output "vpc_id" {
  description = "The network."
  value       = aws_vpc.this.id
}

output "subnet_ids" {
  description = "Private subnets, one a zone."
  value       = aws_subnet.private[*].id
}

output "security_groups" {
  description = "Ids of the security groups by what they protect."
  value = {
    functions = aws_security_group.functions.id
    proxy     = aws_security_group.proxy.id
    database  = aws_security_group.database.id
    cache     = aws_security_group.cache.id
    warehouse = aws_security_group.warehouse.id
    operators = aws_security_group.operators.id
  }
}

output "ways_out" {
  description = "Where each group may go: from, to (a group's id or a gateway endpoint's prefix list) and port."
  value = concat(
    [
      for rule in aws_vpc_security_group_egress_rule.paths :
      { from = rule.security_group_id, to = rule.referenced_security_group_id, port = rule.to_port }
    ],
    [
      for rule in aws_vpc_security_group_egress_rule.gateway :
      { from = rule.security_group_id, to = rule.prefix_list_id, port = rule.to_port }
    ],
  )
}

output "prefix_lists" {
  description = "Prefix lists of the gateway endpoints, by service."
  value       = { for service, endpoint in aws_vpc_endpoint.gateway : service => endpoint.prefix_list_id }
}

output "session_endpoints" {
  description = "Services that only a session with the operators' host needs, where there is one."
  value       = keys(aws_vpc_endpoint.session)
}
