# frozen_string_literal: true

module Apnsd
  # What the daemon's answers look like.
  module Shape # :nodoc:
    module_function

    # Whether a value can be the answer to this call.
    def fits?(method, params, value)
      SHAPES.fetch(method).call(value, params)
    end

    def all?(value, &block)
      value.is_a?(Array) && value.all?(&block)
    end
    private_class_method :all?

    # With entries the cursor goes on, else reading them would never end.
    def page?(page, name, asked)
      return false unless page in { cursor: String => cursor }

      entries = page[name]
      all?(entries) { |entry| entry in { token: String } } && (entries.empty? || cursor != asked)
    end
    private_class_method :page?

    SHAPES = {
      "notify" => ->(value, _) { value.nil? },
      "provision" => ->(value, _) { value.nil? },
      "feedback" => ->(value, _) { all?(value) { |entry| entry in [Time, String] } },
      "apnsd.send" => lambda do |value, (_, tokens)|
        all?(value) { |row| row in { token: String, outcome: String } } && value.size == tokens.size
      end,
      "apnsd.apps" => ->(value, _) { all?(value) { |app| app in { app_id: String } } },
      "apnsd.status" => ->(value, _) { value in { app_id: String } },
      "apnsd.deprovision" => ->(value, _) { value == true },
      "apnsd.rejections" => ->(value, (_, cursor)) { page?(value, :rejections, cursor) },
      "apnsd.feedback" => ->(value, (_, cursor)) { page?(value, :feedback, cursor) }
    }.freeze
    private_constant :SHAPES
  end
end
