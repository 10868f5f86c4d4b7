# frozen_string_literal: true

# Makes one call of the client for each line of JSON on the standard input, for clients/behaviour.py.

require "apnsd"
require "json"

# The client under test, and how its calls are written in JSON.
class Driver
  VERBS = { "send" => :deliver }.freeze

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
    when "open" then open(command)
    when "configure" then @client.configure(command["apps"])
    when "provision" then @client.provision(app, **command.except("do", "app").transform_keys(&:to_sym))
    when "notify", "send"
      options = (command["options"] || {}).transform_keys(&:to_sym)
      @client.public_send(VERBS.fetch(verb, verb), app, command["tokens"], command["notifications"], **options)
    else @client.public_send(verb, *[app, command["cursor"]].compact)
    end
  end

  def open(command)
    @client&.close
    @client = Apnsd::Client.new(**command.slice("url", "timeout", "apps").transform_keys(&:to_sym))
    nil
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
