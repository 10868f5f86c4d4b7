# frozen_string_literal: true

module Apnsd
  # The settings of one app, and whether this client has brought them to the daemon.
  class App # :nodoc:
    # Defaults for notifications.
    DEFAULTS = %i[expiration priority collapse_id push_type].freeze
    # What goes into the options of +provision+.
    OPTIONS = (%i[topic key_id team_id passphrase connections force] + DEFAULTS).freeze
    NAMES = (%i[certificate certificate_file environment timeout] + OPTIONS).freeze
    # Seconds for connection attempts of the daemon.
    TIMEOUT = 15

    attr_reader :id, :timeout

    # The apps in a Hash of settings for each id. Raises InvalidArguments.
    def self.all(apps)
      unless apps.nil? || apps.is_a?(Hash)
        raise InvalidArguments, "apps: a Hash with the settings of each app is needed, not #{apps.class}"
      end

      apps.to_h.map { |id, settings| new(id, settings) }
    end

    # Settings have symbols or strings as names. Raises InvalidArguments that names what is wrong.
    def initialize(id, settings)
      @id = id.to_s
      refuse("a Hash is needed, not #{settings.class}") unless settings.nil? || settings.is_a?(Hash)
      @settings = settings.to_h.transform_keys { |name| name.to_s.to_sym }.compact
      @timeout = Options.duration(@settings.fetch(:timeout, TIMEOUT), "settings of app #{id}: timeout")
      @trying = Mutex.new
      @brought = false
      check
    end

    # The arguments of +provision+. Reads the certificate's file.
    def provision_arguments
      options = Options.wire(@settings.slice(*OPTIONS))
      [id, certificate, @settings[:environment].to_s, timeout, options]
    end

    # Yields unless the settings were brought, or another thread is at it: nobody waits for a slow daemon behind others.
    # A failure that may pass is tried again at the next use, any other is not.
    def first_use
      return if @brought || !@trying.try_lock

      begin
        yield
      rescue InvalidArguments, InvalidEnvironment, NotConfigured
        @brought = true
        raise
      ensure
        @trying.unlock
      end
    end

    # The daemon has these settings.
    def brought
      @brought = true
    end

    # Says nothing of what may be secret.
    def inspect
      "#<#{self.class} #{id}>"
    end

    private

    def check
      unknown = @settings.keys - NAMES
      refuse("#{unknown.join(", ")}: unknown; there are #{NAMES.join(", ")}") unless unknown.empty?
      refuse("environment is missing: production, sandbox, …") unless @settings.key?(:environment)
      given = %i[certificate certificate_file].count { |name| @settings.key?(name) }
      refuse("either certificate or certificate_file, not both") if given == 2
      return if given == 1

      refuse("either certificate (text, or a path on the daemon's machine) or certificate_file (a file here) is needed")
    end

    def refuse(problem)
      raise InvalidArguments, "settings of app #{id}: #{problem}"
    end

    def certificate
      return XMLRPC::Base64.new(File.binread(@settings[:certificate_file])) if @settings.key?(:certificate_file)

      text = @settings[:certificate].to_s.dup.force_encoding(Encoding::UTF_8)
      text.valid_encoding? ? text : XMLRPC::Base64.new(text)
    rescue SystemCallError => e
      refuse("certificate_file: #{e.message}")
    end
  end
end
