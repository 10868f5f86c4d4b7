# frozen_string_literal: true

require "json"
require "logger"
require "minitest/autorun"
require "open3"
require "stringio"
require "tmpdir"

# The daemon and the simulator of clients/world.py, started when they are first needed.
class World
  SCRIPT = File.expand_path("../../world.py", __dir__)

  # One for all tests of a process, which therefore use apps and tokens of their own.
  def self.instance
    @instance ||= new.tap { |world| Minitest.after_run { world.close } }
  end

  def initialize
    @pipe = IO.popen(["python3", SCRIPT], "r+")
    @facts = JSON.parse(@pipe.gets || raise("the world did not start"))
  end

  # url, socket, certificate, …
  def [](name)
    @facts.fetch(name.to_s)
  end

  def ask(command)
    @pipe.puts(command)
    JSON.parse(@pipe.gets || raise("the world ended in #{command}"))
  end

  def close
    @pipe.close_write
    @pipe.read
    @pipe.close
  end
end

# What tests with the world share.
module WithWorld
  def setup
    super
    @before = world.ask("arrived").size
  end

  def world
    World.instance
  end

  def settings(**more)
    { certificate_file: world[:certificate], environment: "sandbox", **more }
  end

  # Settings with a topic of this test's own: apps that share a topic share its feedback.
  def settings_with_topic
    settings(certificate_file: world[:key], key_id: "SIMULATOR1", team_id: "SIMTEAM001", topic: app.tr("_", "-"))
  end

  # A client with this test's app.
  def client(**more)
    @client ||= Apnsd::Client.new(**{ url: world[:url], apps: { app => settings } }, **more)
  end

  # The id of this test's app.
  def app
    name
  end

  # A token that begins with these hex digits.
  def token(start)
    start.ljust(64, "0")
  end

  # Exactly these tokens arrived in this test, in any order.
  def assert_arrived(*tokens)
    arrived = world.ask("wait_arrived #{@before + tokens.size}").drop(@before)
    assert_equal tokens.sort, arrived.map { |entry| entry["token"] }.sort
    arrived
  end
end

HELLO = { aps: { alert: "Hello" } }.freeze
