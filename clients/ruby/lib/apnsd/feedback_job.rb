# frozen_string_literal: true

require "apnsd"
require "active_job"
require "active_support/notifications"

module Apnsd
  # Collects the dead device tokens of an app and tells each to the subscribers of "device_expired.apnsd":
  #
  #   ActiveSupport::Notifications.subscribe("device_expired.apnsd") do |event|
  #     app_id, token, time = event.payload.values_at(:app_id, :token, :time)
  #     Device.where(token: token).where("registered_at < ?", time).delete_all
  #   end
  #
  #   Apnsd::FeedbackJob.perform_later("myapp") # once an hour, say
  #
  # A device may have been registered again since +time+, hence the comparison.
  class FeedbackJob < ActiveJob::Base
    # What was handed out, but did not arrive, comes again: the job's id names the call.
    retry_on ServerTimeout, ConnectionFailed, attempts: 5, wait: ->(executions) { 15 * (4**executions) }

    # A subscriber that fails for one token does not keep the others from being told; the first failure is raised behind
    # the last token. The same job, run again soon, tells the same tokens and newer ones; another job only newer ones.
    # Without a subscriber nothing is collected: NotConfigured.
    def perform(app_id)
      unless ActiveSupport::Notifications.notifier.listening?("device_expired.apnsd")
        raise NotConfigured, "nobody subscribes to device_expired.apnsd, so nothing was collected: subscribe in an " \
                             "initializer, which the process that runs the jobs loads too"
      end

      entries = Apnsd.client.feedback(app_id, request_id: job_id)
      failures = entries.filter_map { |time, token| failure_to_tell(app_id, token, time) }
      raise failures.first unless failures.empty?
    end

    private

    def failure_to_tell(app_id, token, time)
      ActiveSupport::Notifications.instrument("device_expired.apnsd", app_id:, token:, time:)
      nil
    rescue StandardError => e
      logger.error("device_expired.apnsd for #{token[0, 8]}… of app #{app_id}: #{e.message} (#{e.class})")
      e
    end
  end
end
