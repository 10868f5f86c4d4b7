# frozen_string_literal: true

# Makes one call of the client for each line of JSON on the standard input, for clients/behaviour.py.

require "apnsd"
require "json"

# The client under test, and how its calls are written in JSON.
class Driver
  def answer(command)
    { returned: plain(perform(command)) }
  rescue Apnsd::Error => e
    told = { raised: e.class.name.split("::").last, code: e.code, text: e.text }
    told.merge({ request_id: e.request_id, accepted: e.accepted }.compact)
  end

  private

  def perform(command)
    verb, app = command.values_at("do", "app")
    case verb
    when "open" then reopen(command)
    when "configure" then @client.configure(command["apps"])
    when "provision" then @client.provision(app, **command.except("do", "app").transform_keys(&:to_sym))
    when "notify" then @client.notify(app, *notification(command), **options(command))
    when "send" then @client.deliver(app, *notification(command), **options(command))
    when "feedback" then @client.feedback(app, **options(command))
    else @client.public_send(verb, *[app, command["cursor"]].compact)
    end
  end

  def reopen(command)
    @client&.close
    @client = Apnsd::Client.new(**command.slice("url", "timeout", "apps").transform_keys(&:to_sym))
    nil
  end

  def notification(command)
    command.values_at("tokens", "notifications")
  end

  def options(command)
    command.fetch("options", {}).transform_keys(&:to_sym)
  end

  def plain(value)
    case value
    when Time then value.strftime("%Y-%m-%dT%H:%M:%SZ")
    when Array then value.map { |each| plain(each) }
    when Hash then value.transform_values { |each| plain(each) }
    else value
    end
  end
end

$stdout.sync = true
driver = Driver.new
$stdin.each_line { |line| puts JSON.generate(driver.answer(JSON.parse(line))) }
