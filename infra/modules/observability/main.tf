locals {
  # One alarm for each thing: those with `over` for each instance of a group.
  each = merge([
    for key, alarm in var.alarms : alarm.over == null ? { (key) = merge(alarm, { instance = "" }) } : {
      for instance in lookup(var.instances, alarm.over, []) :
      "${key}-${instance}" => merge(alarm, { instance = instance })
    }
  ]...)
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.each

  alarm_name        = "${var.name}-${each.key}"
  alarm_description = "${each.value.description} Runbook: ${var.runbook_url}/${each.value.runbook}"
  namespace         = each.value.namespace
  metric_name       = each.value.metric
  # "{stream}" stands for the stream's name, and so on; other text stays, but for {environment}.
  dimensions = {
    for dimension, value in each.value.dimensions : dimension => lookup(
      merge(var.values, { instance = each.value.instance }), trim(value, "{}"),
      replace(value, "{environment}", var.values.environment)
    )
  }
  statistic           = startswith(each.value.statistic, "p") ? null : each.value.statistic
  extended_statistic  = startswith(each.value.statistic, "p") ? each.value.statistic : null
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = each.value.period_s
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = coalesce(each.value.datapoints, each.value.periods)
  treat_missing_data  = each.value.treat_missing_data
  alarm_actions       = [var.topic_arns[each.value.urgency]]
  ok_actions          = [var.topic_arns[each.value.urgency]]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = templatefile(var.dashboard_file, var.values)
}
