# frozen_string_literal: true

require "support"
require "rails"
require "active_job/railtie"
require "rack/mock"
require "apnsd"

# A Rails application with config/apnsd.yml, and code in its configuration.
module Shop
  def self.directory
    @directory ||= Dir.mktmpdir.tap { |directory| Minitest.after_run { FileUtils.rm_r(directory) } }
  end

  def self.write(path, content)
    file = File.join(directory, path)
    FileUtils.mkdir_p(File.dirname(file))
    File.write(file, content)
  end

  write "config/apnsd.yml", <<~YAML
    shared:
      timeout: 7
    test:
      url: <%= ENV.fetch("SHOP_PUSH") %>
      apps:
        shop:
          certificate_file: <%= ENV.fetch("SHOP_CERTIFICATE") %>
          environment: nowhere
  YAML
  write "config/initializers/push.rb", <<~RUBY
    Rails.application.config.apnsd.apps =
      { "shop" => { certificate_file: ENV.fetch("SHOP_CERTIFICATE"), environment: "sandbox" } }
  RUBY

  class Application < Rails::Application
    config.root = Shop.directory
    config.eager_load = false
    config.logger = Logger.new(StringIO.new)
    config.active_job.queue_adapter = :test
  end
end

class RailsTest < Minitest::Test
  include WithWorld

  def setup
    super
    ENV.update("SHOP_PUSH" => world[:url], "SHOP_CERTIFICATE" => world[:certificate])
    Rails.env = "test"
    Rails.application.initialize! unless Rails.application.initialized?
  end

  def test_the_file_and_the_configuration_make_the_client
    assert_equal "#<Apnsd::Client #{world[:url]} apps: shop>", Apnsd.client.inspect
    Apnsd.client.notify("shop", token("d1"), HELLO)
    assert_arrived(token("d1"))
    assert_equal "sandbox", Apnsd.client.status("shop")[:environment]
  end

  def test_the_job_tells_each_dead_token_once
    Apnsd.client.deliver("shop", [token("deada1"), token("deada2")], HELLO)
    told = listening { 2.times { Apnsd::FeedbackJob.perform_now("shop") } }
    assert_equal([["shop", token("deada1")], ["shop", token("deada2")]],
                 told.map { |payload| payload.values_at(:app_id, :token) }.sort)
    assert(told.all? { |payload| payload[:time].utc? })
  end

  def test_a_subscriber_that_fails_keeps_no_other_token_from_being_told
    Apnsd.client.deliver("shop", [token("deadb1"), token("deadb2")], HELLO)
    told = []
    fails = proc { |event| (told << event.payload[:token]) && raise("the table is locked") }
    ActiveSupport::Notifications.subscribed(fails, "device_expired.apnsd") do
      error = assert_raises(StandardError) { Apnsd::FeedbackJob.perform_now("shop") }
      assert_match(/the table is locked/, error.message)
    end
    assert_equal [token("deadb1"), token("deadb2")], told.sort
  end

  def test_the_job_is_tried_again_where_the_daemon_is_down_and_only_there
    world.ask("stop") # A daemon that is killed may hand out again what it handed out just before.
    listening { Apnsd::FeedbackJob.perform_now("shop") }
    assert_equal(["Apnsd::FeedbackJob"], queued.map { |job| job["job_class"] })
    queued.clear
    world.ask("start")
    error = assert_raises(Apnsd::UnknownAppID) { listening { Apnsd::FeedbackJob.perform_now("other") } }
    assert_match(/ no settings for `other`: .* It has settings for `shop`\.\z/, error.message)
    assert_empty queued
  ensure
    queued.clear
  end

  def test_the_same_job_run_again_tells_the_same_tokens
    Apnsd.client.deliver("shop", token("deadd1"), HELLO)
    job = Apnsd::FeedbackJob.new("shop")
    told = listening { 2.times { job.perform_now } }
    assert_equal([token("deadd1")] * 2, told.map { |payload| payload[:token] })
  end

  def test_the_job_collects_nothing_where_nobody_listens
    Apnsd.client.deliver("shop", token("deadc1"), HELLO)
    error = assert_raises(Apnsd::NotConfigured) { Apnsd::FeedbackJob.perform_now("shop") }
    assert_match(/\Anobody subscribes to device_expired\.apnsd, so nothing was collected: /, error.message)
    assert_equal([token("deadc1")], listening { Apnsd::FeedbackJob.perform_now("shop") }.map { |told| told[:token] })
  end

  def test_a_file_that_cannot_work_is_named
    { "test: { uri: x, apps: {} }" => "uri: unknown; there are url, timeout, apps",
      "test: { logger: stdout }" => "logger: unknown; there are url, timeout, apps",
      "[test]" => "a mapping with the environments is needed, not Array",
      "test: []" => "test: a mapping is needed, not Array",
      "shared: { timeout: 1 }\ntest: [shop]" => "test: a mapping is needed, not Array",
      "test: http://localhost/" => "test: a mapping is needed, not String",
      "test: { apps: [shop] }" => "apps: a Hash with the settings of each app is needed, not Array",
      "test: { apps: { shop: { certificate: c } } }" =>
        "settings of app shop: environment is missing: production, sandbox, …",
      "test: { timeout: soon }" => 'timeout: a number of seconds more than 0 is needed, not "soon"' }
      .each do |content, problem|
        assert_includes started(content), "config/apnsd.yml or config.apnsd: #{problem} (Apnsd::InvalidArguments)"
      end
  end

  def test_a_file_without_this_environment_is_told_in_the_log
    { "production: {}\nstaging: {}" => "it has production, staging", "" => "it is empty",
      "test:\nproduction: {}" => "it has test, production" }.each do |content, has|
      told = started(content)
      assert_includes told, "/config/apnsd.yml says nothing for the environment test (#{has}): there are no apps\n"
      assert_includes told, "#<Apnsd::Client http://there:1/ apps: >"
    end
  end

  def test_the_middleware_makes_the_client_and_passes_it_to_requests
    before = Apnsd.client
    inner = ->(env) { [200, {}, [env["apnsd.client"].inspect]] }
    stack = Apnsd::Middleware.new(inner, url: "http://there:1/")
    assert_equal "#<Apnsd::Client http://there:1/ apps: >", Rack::MockRequest.new(stack).get("/").body
  ensure
    Apnsd.instance_variable_set(:@client, before)
  end

  def test_without_configuration_there_is_no_client
    output, = Open3.capture2e("ruby", "-I", File.expand_path("../lib", __dir__), "-rapnsd", "-e", "Apnsd.client")
    assert_match(%r{call Apnsd.configure first; in Rails, write config/apnsd.yml \(Apnsd::NotConfigured\)}, output)
  end

  private

  # What an application with this config/apnsd.yml says when it starts, in a process of its own.
  def started(content)
    Dir.mktmpdir do |directory|
      FileUtils.mkdir(File.join(directory, "config"))
      File.write(File.join(directory, "config/apnsd.yml"), content)
      program = <<~RUBY
        require "rails"
        require "apnsd"
        class Application < Rails::Application
          config.root = #{directory.inspect}
          config.eager_load = false
          config.logger = Logger.new($stdout)
        end
        Rails.application.initialize!
        puts Apnsd.client.inspect
      RUBY
      variables = { "RAILS_ENV" => "test", "APNSD_URL" => "http://there:1/" }
      Open3.capture2e(variables, "ruby", "-I", File.expand_path("../lib", __dir__), "-e", program).first
    end
  end

  def listening(&block)
    told = []
    listener = proc { |event| told << event.payload }
    ActiveSupport::Notifications.subscribed(listener, "device_expired.apnsd", &block)
    told
  end

  def queued
    ActiveJob::Base.queue_adapter.enqueued_jobs
  end
end
