# frozen_string_literal: true

require "support"
require "tempfile"
require "apnsd"

class AppTest < Minitest::Test
  def test_provision_gets_five_arguments
    app = Apnsd::App.new(7, certificate: "/certs/app.pem", environment: :production)
    assert_equal ["7", "/certs/app.pem", "production", 15, {}], app.provision_arguments
    app = Apnsd::App.new("a", "certificate" => "text", "environment" => "sandbox", "timeout" => 5, "topic" => "t",
                              "expiration" => Time.at(7), "force" => nil)
    assert_equal ["a", "text", "sandbox", 5, { topic: "t", expiration: 7 }], app.provision_arguments
  end

  def test_a_file_is_read_each_time_and_goes_as_bytes
    Tempfile.create("cert") do |file|
      app = Apnsd::App.new("a", certificate_file: file.path, environment: "sandbox")
      ["one", "\x30\x82\xFF\x00".b].each do |content|
        File.binwrite(file.path, content)
        assert_equal content, app.provision_arguments[1].decoded
      end
    end
  end

  def test_a_certificate_that_is_not_text_goes_as_bytes
    app = Apnsd::App.new("a", certificate: "\x30\x82\xFF".b, environment: "sandbox")
    assert_equal "\x30\x82\xFF".b, app.provision_arguments[1].decoded.b
  end

  def test_settings_that_cannot_work_are_refused_with_the_app
    { { certificate: "c" } => "environment is missing: production, sandbox, …",
      { certificate: "c", environment: "e", sound: 1, topik: "t" } =>
        "sound, topik: unknown; there are #{Apnsd::App::NAMES.join(", ")}",
      { environment: "e" } =>
        "either certificate (text, or a path on the daemon's machine) or certificate_file (a file here) is needed",
      { certificate: "c", certificate_file: "f", environment: "e" } =>
        "either certificate or certificate_file, not both",
      { certificate: "c", environment: "e", 1 => 2 } => "1: unknown; there are #{Apnsd::App::NAMES.join(", ")}",
      { certificate: "c", environment: "e", timeout: Float::INFINITY } =>
        "timeout: a number of seconds more than 0 is needed, not Infinity",
      "c" => "a Hash is needed, not String",
      nil => "environment is missing: production, sandbox, …",
      { certificate: "c", environment: "e", timeout: "15" } =>
        "timeout: a number of seconds more than 0 is needed, not \"15\"" }
      .each do |settings, text|
      error = assert_raises(Apnsd::InvalidArguments) { Apnsd::App.new("a", settings) }
      assert_equal "settings of app a: #{text}", error.message
    end
  end

  def test_apps_are_a_hash
    error = assert_raises(Apnsd::InvalidArguments) { Apnsd::Client.new(apps: ["a"]) }
    assert_equal "apps: a Hash with the settings of each app is needed, not Array", error.message
    assert_empty Apnsd::App.all(nil)
  end

  def test_nobody_waits_for_the_first_use_of_another_thread
    app = Apnsd::App.new("a", certificate: "c", environment: "e")
    app.first_use do
      other = Thread.new { app.first_use { flunk "one is at it already" } }
      assert other.join(5), "it waits"
    end
    tried = 0
    app.first_use { tried += 1 }
    app.brought
    app.first_use { tried += 1 }
    assert_equal 1, tried
  end

  def test_nothing_secret_is_shown
    app = Apnsd::App.new("a", certificate: "secret", environment: "e", passphrase: "secret")
    assert_equal "#<Apnsd::App a>", app.inspect
    assert_equal "#<Apnsd::Client http://127.0.0.1:1/ apps: a>",
                 Apnsd::Client.new(url: "http://u:secret@127.0.0.1:1/",
                                   apps: { a: { certificate: "secret", environment: "e" } }).inspect
  end
end
